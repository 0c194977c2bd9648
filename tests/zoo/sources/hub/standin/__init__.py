"""A Hub on this machine that the real client talks to over real HTTP, with a small store and faults on demand."""

from standin.faults import Fault
from standin.rights import OWNER, READER
from standin.server import StandIn
from standin.store import Commit, File, Repo

__all__ = ["OWNER", "READER", "Commit", "Fault", "File", "Repo", "StandIn"]
