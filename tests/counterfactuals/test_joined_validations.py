"""The tables of validated pairs of several methods as one."""

import pandas as pd

from counterpoint.counterfactuals.validation.joined_validations import joined

FLUENT = pd.DataFrame({"method": ["fluent"] * 2, "rank": [1, 4], "ranks": [[1, 2], [3]]})
DESCENT = pd.DataFrame({"method": ["descent"], "rank": [2], "ranks": [[5]]})
NONE = pd.DataFrame({"method": [], "rank": [], "ranks": []}, dtype=object)


def test_methods_stand_in_order_and_pairs_as_they_were() -> None:
    found = joined([FLUENT, DESCENT])
    assert found["method"].tolist() == ["descent", "fluent", "fluent"]
    assert found["rank"].tolist() == [2, 1, 4]
    assert found.index.tolist() == [0, 1, 2]


def test_a_method_without_pairs_changes_no_type() -> None:
    found = joined([NONE, FLUENT])
    assert (found.dtypes == FLUENT.dtypes).all()
    assert len(found) == 2
    assert joined([NONE, NONE]).empty
    assert list(joined([NONE, NONE]).columns) == list(NONE.columns)
