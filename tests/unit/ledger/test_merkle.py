"""RFC 6962 trees: published roots, and paths that lead there and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import Bug, VerificationFailed
from pipelines.ledger import merkle

# The leaves and roots of the Certificate Transparency project's own tests of RFC 6962.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("count", range(1, 9))
def test_the_root_is_that_of_the_published_vectors(count: int) -> None:
    leaves = [bytes.fromhex(leaf) for leaf in LEAVES[:count]]
    assert merkle.root_of(leaves).hex() == ROOTS[count - 1]


@given(leaves=st.lists(st.binary(max_size=40), min_size=1, max_size=40, unique=True), data=st.data())
def test_every_leaf_has_a_path_to_the_root_and_no_other_leaf_has_it(
    leaves: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    path, root = merkle.path_of(leaves, index), merkle.root_of(leaves)
    merkle.check_path(leaves[index], index=index, count=len(leaves), path=path, root=root)
    wrong = [
        {"leaf": leaves[index] + b"!"},
        {"index": index + 1},
        {"root": bytes(32)},
        {"path": [*path, bytes(32)]},
        *([{"path": path[:-1]}] if path else []),
    ]
    for change in wrong:
        told = {"leaf": leaves[index], "index": index, "count": len(leaves), "path": path, "root": root} | change
        with pytest.raises(VerificationFailed):
            merkle.check_path(told.pop("leaf"), **told)


def test_a_node_does_not_pass_for_a_leaf() -> None:
    two = [b"a", b"b"]
    inner = merkle.leaf_hash(b"a") + merkle.leaf_hash(b"b")
    assert merkle.root_of(two) != merkle.leaf_hash(inner)


def test_there_is_no_tree_without_leaves() -> None:
    with pytest.raises(Bug):
        merkle.root_of([])
