"""Keys and what they make of an identifier.

Promises: a keyring per role (pull, seal, land, release), tokens by column, the hub's signature.
Refuses:  with KeyUnavailable wherever a key is missing, damaged or not enabled.
Not here: canonical forms (identifiers/), what leaves the hub (extracts/).
"""

from pipelines.privacy.aes import decrypt_blocks, encrypt_blocks
from pipelines.privacy.keyring import Key, Keyring
from pipelines.privacy.roles import (
    day_recipient,
    day_recipient_path,
    init_keyrings,
    open_keyring,
    pseudonym_key,
    release_recipient_path,
    signing_certificate_path,
)
from pipelines.privacy.signing import cms_signer, cms_verifier
from pipelines.privacy.tokens import cmac_column, mac_rows, pack_bank_account, pack_citizen_id, pack_mobile

__all__ = [
    "Key",
    "Keyring",
    "cmac_column",
    "cms_signer",
    "cms_verifier",
    "day_recipient",
    "day_recipient_path",
    "decrypt_blocks",
    "encrypt_blocks",
    "init_keyrings",
    "mac_rows",
    "open_keyring",
    "pack_bank_account",
    "pack_citizen_id",
    "pack_mobile",
    "pseudonym_key",
    "release_recipient_path",
    "signing_certificate_path",
]
