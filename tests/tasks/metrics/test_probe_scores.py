"""Shares of preferred references, their intervals and differences, against figures of the binomial distribution."""

import json
from math import comb
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import StageError
from tasks.config import ScoreSpec
from tasks.execution.stage import Artifact
from tasks.metrics.probe_kinds import ProbeKind
from tasks.metrics.probe_scores import preferences, probe_scores
from tasks.metrics.scores import ProbeScores, Scores
from tasks.score import score
from tests.support.artifacts import ArtifactFactory
from tests.support.probes import likelihoods, probe_artifact

SWAP, NUMBER = str(ProbeKind.SPEAKERS), str(ProbeKind.NUMBER)
Chosen = list[bool | None]


def scores_of(left_out: dict[str, int] | None = None, **systems: dict[str, Chosen]) -> ProbeScores:
    found = probe_scores({name: likelihoods(chosen) for name, chosen in systems.items()}, left_out or {}, {}, 20_000, 0)
    assert found is not None
    return found


def binomial_interval(count: int, share: float) -> tuple[float, float]:
    """2.5 % and 97.5 % quantile of the share of successes, in percent, summed up from the distribution."""
    chances = [comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(count + 1)]
    ends = []
    for quantile in (0.025, 0.975):
        total, k = 0.0, 0
        while (total := total + chances[k]) < quantile:
            k += 1
        ends.append(100 * k / count)
    return ends[0], ends[1]


def test_share_and_interval_are_those_of_the_binomial_distribution() -> None:
    """14 of 20 dialogues; a resample draws each with a probability of one half or less of a dialogue off."""
    scores = scores_of(base={SWAP: [i < 14 for i in range(20)]})
    (kind,) = scores.kinds
    assert (kind.kind, kind.dialogues, kind.shares["base"].share) == (SWAP, 20, 70.0)
    assert kind.shares["base"].interval == pytest.approx(binomial_interval(20, 0.7), abs=5)
    assert kind.differences == {}


def test_differences_are_paired_by_dialogue() -> None:
    """Tuned is right where base is right, and on ten of forty dialogues more: never worse, by 25 points."""
    base, tuned = [i < 20 for i in range(40)], [i < 30 for i in range(40)]
    (kind,) = scores_of(base={SWAP: [*base]}, tuned={SWAP: [*tuned]}).kinds
    difference = kind.differences["base"]
    assert difference.mean == 25.0
    assert difference.interval == pytest.approx(binomial_interval(40, 0.25), abs=2.6)
    assert difference.probability_better > 0.999
    mirrored = [not right for right in base]
    (unpaired,) = scores_of(base={SWAP: [*base]}, tuned={SWAP: [*mirrored]}).kinds
    assert unpaired.differences["base"].mean == 0.0
    assert unpaired.differences["base"].interval[0] < -20


def test_a_kind_counts_the_dialogues_that_have_a_pair_and_those_left_out() -> None:
    """Two of four dialogues have a number; all kinds together are the mean of each dialogue, then over dialogues."""
    scores = scores_of({NUMBER: 2}, base={SWAP: [True, False, True, False], NUMBER: [None, True, None, True]})
    by_kind = {kind.kind: kind for kind in scores.kinds}
    assert [kind.kind for kind in scores.kinds] == [SWAP, NUMBER]
    assert (by_kind[NUMBER].dialogues, by_kind[NUMBER].left_out) == (2, 2)
    assert (by_kind[SWAP].dialogues, by_kind[SWAP].left_out) == (4, 0)
    assert by_kind[NUMBER].shares["base"].share == 100.0
    assert scores.all_kinds.shares["base"].share == pytest.approx(100 * (1 + 0.5 + 1 + 0.5) / 4)
    assert (scores.dialogues, scores.pairs) == (4, 6)


def test_the_text_with_the_higher_log_probability_per_token_is_preferred() -> None:
    """Not the one with the higher sum, which is the shorter; equal texts count half."""
    (row,) = likelihoods({SWAP: [True]})
    longer = row | {"logp_reference": -12.0, "tokens_reference": 12, "logp_corruption": -11.0, "tokens_corruption": 10}
    equal = row | {"logp_reference": -12.0, "tokens_reference": 12, "logp_corruption": -10.0, "tokens_corruption": 10}
    assert [preferences([each])["test_0", SWAP] for each in (row, longer, equal)] == [1.0, 1.0, 0.5]


def test_systems_with_other_texts_are_not_compared() -> None:
    base, other = likelihoods({SWAP: [True, True]}), likelihoods({SWAP: [True, True]})
    other[1]["corruption"] = "another"
    with pytest.raises(StageError, match="base and tuned compare different texts: rerun probe"):
        probe_scores({"base": base, "tuned": other}, {}, {}, 100, 0)


def test_no_pairs_are_no_scores() -> None:
    assert probe_scores({"base": [], "tuned": []}, {}, {}, 100, 0) is None


def test_score_stores_what_the_probes_say_and_reads_it_back(tmp_path: Path, store: Store) -> None:
    """With probes as inputs; without them the file has no such key, as in earlier versions."""
    factory = ArtifactFactory(tmp_path, store)
    dataset = factory.dataset([["a b c"], ["d e f"]])
    outputs = {"base": factory.predictions(["a", "d"]), "tuned": factory.predictions(["a b", "d e"])}
    tables = {"base": likelihoods({SWAP: [False, True]}), "tuned": likelihoods({SWAP: [True, True]})}
    probes: dict[str, Artifact] = {
        f"probe_{name}": probe_artifact(factory, rows, {SWAP: 3}, {NUMBER: "no numbers"})
        for name, rows in tables.items()
    }
    contents: list[dict[str, Any]] = []
    for inputs in (outputs, outputs | probes):
        context = factory.context()
        result = score(ScoreSpec(bootstrap_resamples=100), context, dataset, **inputs)
        contents.append(json.loads((context.out / "scores.json").read_text()))
        assert set(result.facts["headline"]) == {"base", "tuned"}
    assert "probe" not in contents[0]
    assert {name: value for name, value in contents[1].items() if name != "probe"} == contents[0]
    probe = Scores.load(context.out).probe
    assert probe is not None
    assert probe.not_applied == {NUMBER: "no numbers"}
    assert (probe.kinds[0].left_out, probe.kinds[0].differences["base"].mean) == (3, 50.0)
    assert result.facts["preferred"] == {"base": 50.0, "tuned": 100.0}
