"""A migration that has landed is never edited: somewhere a database has been migrated by it already."""

import hashlib
from pathlib import Path

from allocation.adapters.postgresql.schema import _VERSIONS

RECORDED = Path(__file__).with_name("landed_migrations.sha256")


def test_aucune_migration_n_a_changé_depuis_qu_elle_est_là() -> None:
    lines = (line.split() for line in RECORDED.read_text(encoding="utf-8").splitlines())
    recorded = {name: checksum for checksum, name in lines}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in _VERSIONS.glob("[0-9]*.py")}

    edited = {name for name in recorded if found.get(name) != recorded[name]}
    assert not edited, "landed migrations are final: write a new one instead"
    new = sorted(found.keys() - recorded.keys())
    assert not new, f"record what has landed: (cd {_VERSIONS} && sha256sum {' '.join(new)}) >> {RECORDED}"
