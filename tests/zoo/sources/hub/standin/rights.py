"""Who may read and write what, with the statuses that the Hub answers."""

from __future__ import annotations

from standin.answers import Call, HubError
from standin.store import Repo

OWNER = "hf_owner"
READER = "hf_reader"
USERS = {OWNER: "owner", READER: "reader"}  # the owner may do everything, the reader sees what is public


def user(call: Call) -> str | None:
    """Who asks: None for nobody in particular.

    Raises:
        HubError: 401, the token is nobody's.
    """
    if call.token is None:
        return None
    if call.token not in USERS:
        raise HubError(401, "Invalid credentials in Authorization header")
    return USERS[call.token]


def _missing(call: Call) -> HubError:
    # The Hub tells a stranger no more about a private repository than about none at all. The client would take a 401
    # without a code for a missing repository too, but over https only.
    return HubError(404 if call.token else 401, "Repository not found", "RepoNotFound")


def may_read(call: Call, repo: Repo | None, content: bool = False) -> Repo:
    """The repository if it exists for whoever asks; the content of a gated one is the owner's."""
    who = user(call)
    if repo is None or (repo.private and who != "owner"):
        raise _missing(call)
    if content and repo.gated and who != "owner":
        message = f"Access to model {repo.name} is restricted. You must have access to it and be authenticated."
        raise HubError(403 if who else 401, message, "GatedRepo")
    return repo


def may_write(call: Call, repo: Repo | None) -> Repo:
    """The repository if whoever asks may change it."""
    who = user(call)
    if who is None:
        raise _missing(call) if repo is None or repo.private else HubError(401, "Invalid username or password.")
    found = may_read(call, repo)
    if who != "owner":
        raise HubError(403, f"You don't have the rights to write to {found.name}")
    return found
