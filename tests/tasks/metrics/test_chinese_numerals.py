"""Chinese numerals, and words of the same characters that are no numbers."""

import pytest

from tasks.metrics.chinese_numerals import in_digits


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("三点半", "3:30"),
        ("十二点十五分", "12:15"),
        ("二百五十块", "250块"),
        ("两千零八年", "2008年"),
        ("二〇二五年", "2025年"),
        ("一万三千", "13000"),
        ("三亿", "300000000"),
        ("两个人", "2个人"),
        ("一起去", "一起去"),
        ("万一", "万一"),
        ("十分高兴", "十分高兴"),
    ],
)
def test_numerals_become_digits(text: str, digits: str) -> None:
    assert in_digits(text, every=False) == digits


def test_single_numerals_count_where_everything_does() -> None:
    """In a dialogue, which is read in every way that it allows."""
    assert in_digits("五", every=False) == "五"
    assert in_digits("五", every=True) == "5"
