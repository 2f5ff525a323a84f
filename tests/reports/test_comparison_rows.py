"""Groups, pairs and tables of a comparison."""

from __future__ import annotations

import json

import numpy as np
import pytest
from compared_runs import IMAGES, NAMES, answers, compared
from scipy.stats import binomtest

from cifarlab.paired import compare_groups, holm
from cifarlab.reports.comparison_rows import agreement, class_differences, compare_runs
from cifarlab.reports.comparison_tables import class_table, difference_table, notes, pair_table, score_table


@pytest.fixture
def six(tmp_path):
    """Three seeds each of two recipes."""
    return [
        compared(tmp_path, f"{name}-{seed}", answers(share + 0.01 * seed, seed=10 * seed + len(name)), recipe={"name": name, "seed": seed})
        for name, share in (("small", 0.7), ("larger", 0.8))
        for seed in (0, 1, 2)
    ]


def test_runs_that_differ_in_the_seed_alone_are_one_group(six):
    found = compare_runs(six, resamples=1000)
    assert [(group.label, len(group.runs)) for group in found.groups] == [("small", 3), ("larger", 3)]
    assert not found.one_recipe
    assert found.groups[0].accuracy == pytest.approx((0.71, 0.01, 3))
    assert found.groups[1].accuracy.mean == pytest.approx(0.81)


def test_a_pair_holds_what_the_statistics_say(six):
    found = compare_runs(six, resamples=1000, seed=4)
    correct = np.stack([run.predictions.final_logits.argmax(1) == run.predictions.labels for run in six])
    expected = compare_groups(correct, [[0, 1, 2], [3, 4, 5]], [(0, 1)], resamples=1000, seed=4)[0]
    assert len(found.pairs) == 1
    assert found.pairs[0].difference == expected
    assert found.pairs[0].judgement == "second"
    assert found.verdicts == (found.pairs[0].verdict,)
    assert found.verdicts[0].startswith("larger is better than small by 10.00 points")


def test_runs_of_one_recipe_stand_for_themselves(six):
    found = compare_runs(six[:3], resamples=1000)
    assert found.one_recipe
    assert [group.label for group in found.groups] == ["small-0", "small-1", "small-2"]
    assert len(found.pairs) == 3
    assert "it says nothing about that" in found.verdicts[0]
    assert any(
        "3 runs of one recipe: mean accuracy 71.00 %, standard deviation over the seeds 1.00 points" in line for line in notes(found)
    )


def test_with_a_baseline_every_other_group_is_compared_with_its_group(six, tmp_path):
    third = compared(tmp_path, "third", answers(0.5), recipe={"name": "third"})
    found = compare_runs([*six, third], baseline=six[1], resamples=1000)
    assert [(pair.first.label, pair.second.label) for pair in found.pairs] == [("larger", "small"), ("third", "small")]
    assert found.baseline is found.groups[0]
    assert len(compare_runs([*six, third], resamples=1000).pairs) == 3


def test_p_values_are_corrected_for_the_number_of_pairs(six):
    found = compare_runs(six[:3], resamples=1000)
    np.testing.assert_allclose([pair.corrected_p for pair in found.pairs], holm([pair.difference.p_value for pair in found.pairs]))


def test_groups_of_one_recipe_name_are_told_apart_by_what_differs(tmp_path):
    runs = [
        compared(tmp_path, f"r{lr}-{seed}", answers(0.6, seed=seed), recipe={"optim": {"lr": lr}, "seed": seed})
        for lr in (0.1, 0.2)
        for seed in (0, 1)
    ]
    runs.append(compared(tmp_path, "alone", answers(0.6), recipe={"optim": {"lr": 0.3}}))
    found = compare_runs(runs, resamples=1000)
    assert [group.label for group in found.groups] == ["fast (lr 0.1)", "fast (lr 0.2)", "alone"]
    assert found.differing == {"optim.lr": (0.1, 0.2, 0.3)}


def test_fields_that_one_recipe_lacks_are_shown_as_missing(tmp_path):
    """A classical baseline has a recipe of other fields."""
    cnn = compared(tmp_path, "cnn", answers(0.8))
    knn = compared(tmp_path, "knn", answers(0.5), recipe={"name": "knn", "method": {"neighbours": 5}}, status={"parameters": None})
    rows = {row[0]: row[1:] for row in difference_table(compare_runs([cnn, knn], resamples=1000)).rows}
    assert rows["method.neighbours"] == ("-", "5")
    assert rows["parameters"] == ("24\u00a0666", "-")
    assert rows["training time"] == ("1 min 01 s", "1 min 01 s")
    assert "seed" not in rows


def test_many_fields_that_one_recipe_lacks_are_counted(tmp_path):
    cnn = compared(tmp_path, "cnn", answers(0.8), recipe={"train": {f"field_{i}": i for i in range(9)}})
    knn = compared(tmp_path, "knn", answers(0.5), recipe={"name": "knn", "method": {"neighbours": 5}, "optim": {"lr": 0.2}})
    rows = {row[0]: row[1:] for row in difference_table(compare_runs([cnn, knn], resamples=1000)).rows}
    assert rows["9 more fields"] == ("set", "-")
    assert rows["method.neighbours"] == ("-", "5")
    assert rows["optim.lr"] == ("0.1", "0.2")
    assert not any(name.startswith("train.") for name in rows)


def test_scores_of_runs_and_means_of_seeds(six):
    rows = score_table(compare_runs(six, resamples=1000)).rows
    assert [row[0] for row in rows] == ["small-0", "small-1", "small-2", "small, mean", "larger-0", "larger-1", "larger-2", "larger, mean"]
    wilson = binomtest(210, 300).proportion_ci(method="wilson")
    assert rows[0][1:4] == ("0", "70.00 %", f"{100 * wilson.low:.2f} to {100 * wilson.high:.2f} %")
    assert rows[3][1:4] == ("n = 3", "71.00 %", "sd 1.00 points")
    assert float(rows[3][4]) == pytest.approx(np.mean([run.score["cross_entropy"] for run in six[:3]]), abs=6e-5)


def test_the_pair_table_leaves_out_columns_that_say_nothing(six):
    pooled = pair_table(compare_runs(six, resamples=1000))
    assert pooled.head == ("pair", "difference", "95 % interval", "p", "better")
    assert pooled.rows[0][0] == "small − larger"
    assert pooled.rows[0][-1] == "larger"
    single = pair_table(compare_runs(six[:3], resamples=1000))
    assert single.head == ("pair", "difference", "95 % interval", "p", "p (Holm)", "only first right", "only second right", "better")


def test_classes_are_compared_on_their_own_images(six):
    found = compare_runs(six, resamples=1000)
    classes = class_differences(found, found.pairs[0])
    for number, one in enumerate(classes):
        own = found.labels == number
        assert one.name == NAMES[number]
        assert one.recalls == pytest.approx((found.correct[:3, own].mean(), found.correct[3:, own].mean()))
        assert one.difference.value == pytest.approx(one.recalls[0] - one.recalls[1])
        assert one.difference.images == IMAGES // 3
    np.testing.assert_allclose([one.corrected_p for one in classes], holm([one.difference.p_value for one in classes]))
    assert len(class_table(found.pairs[0], classes).rows) == 3


def test_a_class_without_images_is_left_out(tmp_path):
    names = (*NAMES, "frog")
    runs = []
    for name, share in (("a", 0.5), ("b", 0.9)):
        right = answers(share)
        run = compared(tmp_path, name, right, recipe={"name": name}, names=names)
        keep = run.predictions.labels != 3
        for field in ("labels", "logits", "sample_ids"):
            object.__setattr__(run.predictions, field, getattr(run.predictions, field)[keep])
        runs.append(run)
    found = compare_runs(runs, resamples=1000)
    classes = class_differences(found, found.pairs[0])
    assert classes[3].difference is None
    assert not classes[3].shown
    assert [row[0] for row in class_table(found.pairs[0], classes).rows] == list(NAMES)


def test_agreement_is_the_share_of_equal_answers(six):
    matrix = agreement(six[:2])
    both = (six[0].answers == six[1].answers).mean()
    np.testing.assert_allclose(matrix, [[1, both], [both, 1]])


def test_what_a_reader_must_know_is_noted(tmp_path):
    looked = {"validated_on": "test", "sizes": {"train": 1000}}
    runs = [
        compared(tmp_path, "honest", answers(0.8), recipe={"name": "honest"}),
        compared(tmp_path, "looked", answers(0.8), recipe={"name": "looked"}, env=looked),
        compared(tmp_path, "chose", answers(0.8), recipe={"name": "chose"}, env=looked, status={"selected": "best"}),
    ]
    lines = "\n".join(notes(compare_runs(runs, resamples=1000)))
    assert "looked looked at the test split after every epoch, though nothing in its training chose by it." in lines
    assert "chose looked at the test split after every epoch and chose by it: its test figures are optimistic." in lines
    assert "trained on different numbers of images" in lines
    assert "honest" not in lines


def test_equal_seeds_in_a_group_are_noted(six, tmp_path):
    again = compared(tmp_path, "again", answers(0.71, seed=5), recipe={"name": "small", "seed": 0})
    lines = notes(compare_runs([*six, again], resamples=1000))
    assert "small: some of its runs have the same seed; they count as different ones." in lines


def test_draws_too_few_for_so_many_pairs_are_noted(tmp_path):
    runs = [
        compared(tmp_path, f"r{group}-{seed}", answers(0.1 * group, seed=seed), recipe={"name": f"r{group}", "seed": seed})
        for group in range(1, 9)
        for seed in (0, 1)
    ]
    told = "\n".join(notes(compare_runs(runs, resamples=1000))).replace("\u00a0", " ")
    assert "1 000 draws of the bootstrap are too few to show any difference among 28 pairs with several seeds" in told
    assert "Give at least 1 120." in told
    assert "too few" not in "\n".join(notes(compare_runs(runs, resamples=1120)))


def test_a_baseline_whose_arguments_were_chosen_on_validation_is_optimistic_there(tmp_path):
    runs = []
    for name, candidates in (("chosen", [{}, {}]), ("fixed", [{}])):
        made = compared(tmp_path, name, answers(0.7), recipe={"name": name, "model": {"name": "baseline-knn"}}, split="validation")
        (made.directory.path / "baseline.json").write_text(json.dumps({"candidates": candidates}))
        runs.append(made)
    lines = notes(compare_runs(runs, resamples=1000))
    assert "chosen chose by the validation split: its figures on it are optimistic." in lines
    assert not any(line.startswith(("fixed", "chosen, fixed")) for line in lines)


def test_other_images_are_refused(tmp_path):
    runs = [compared(tmp_path, "a", answers(0.5)), compared(tmp_path, "b", answers(0.5), first_id=1)]
    with pytest.raises(ValueError, match="same images"):
        compare_runs(runs)
