"""What each agency promised, read from schemas/feeds: typed shapes, checks as SQL, and words for people.

Promises: `load_all` gives only contracts that are complete and harmless; the SQL made from one names nothing that
          the contract does not name.
Refuses:  anything else, before a byte of data is looked at (ContractBroken).
Not here: running the checks (checks/), making tokens (sealing/), landing (landing/).
"""

from pipelines.contracts.model import Contract, Field, Rule, SourceSpec
from pipelines.contracts.odcs import load_all
from pipelines.contracts.row_checks import RowCheck
from pipelines.contracts.yaml_file import read_yaml

__all__ = ["Contract", "Field", "RowCheck", "Rule", "SourceSpec", "load_all", "read_yaml"]
