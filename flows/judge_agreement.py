"""How far judges agree with people: what `bench faithfulness` measured, kept in the store for reports.

<store>/judge-agreement/<key>.json, where the key is the digest of the judge's settings without its dialogues.
"""

import json

from artifacts.artifact_store import Store
from artifacts.cache_key import identity_of, sha256
from tasks.config import JudgeAgreement, JudgeSpec

FOLDER = "judge-agreement"


def agreement_of(judge: JudgeSpec) -> JudgeAgreement | None:
    """The agreement on the data set that was opened last; None if the judge was not compared with people."""
    return next(reversed(_measured(judge).values()), None)


def keep_agreement(judge: JudgeSpec, measured: list[JudgeAgreement]) -> None:
    """Store what was measured on each data set, in the order in which they were opened; others are left as they are."""
    kept = _measured(judge) | {one.data: one for one in measured}
    content = json.dumps([one.model_dump(mode="json") for one in kept.values()], indent=1)
    Store.current().side_files.write(content.encode(), FOLDER, f"{judge_key(judge)}.json")


def _measured(judge: JudgeSpec) -> dict[str, JudgeAgreement]:
    """Name of the data -> agreement."""
    content = Store.current().side_files.read(FOLDER, f"{judge_key(judge)}.json")
    return {one.data: one for one in map(JudgeAgreement.model_validate, json.loads(content or b"[]"))}


def judge_key(judge: JudgeSpec) -> str:
    """32 hex digits of the judge's settings, without the number of dialogues."""
    return sha256(identity_of(judge.model_copy(update={"dialogues": None})))[:32]
