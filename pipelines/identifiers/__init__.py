"""Canonical forms and checks of what names a person, an account or a vehicle.

Promises: for each kind a plain function and a column version that gives the same answers, row for row;
          a verdict that starts with "ok" is usable, anything else is not and then carries no value.
Refuses:  the clock (a business date is passed), and any exception that would carry a value.
Not here: tokens (privacy/), which field is of which kind (contracts/).
"""

from pipelines.identifiers import bank_account, citizen_id, mobile, name, opaque, plate, uscc

__all__ = ["bank_account", "citizen_id", "mobile", "name", "opaque", "plate", "uscc"]
