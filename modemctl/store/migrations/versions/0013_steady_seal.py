"""steady time is sealed: no column changes, the rows are sealed by `modemctl.store.migrate`"""

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    pass
