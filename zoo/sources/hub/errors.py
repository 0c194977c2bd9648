"""What goes wrong between here and the Hub, as one line that names the cause and the remedy."""

from __future__ import annotations

import errno
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pvae_zoo.base.atomic import write_error
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.printable import shown, spelled_lines
from pvae_zoo.sources.hub.cache import cache_folder
from pvae_zoo.sources.names import HubName

_TOKEN = "set HF_TOKEN, or run hf auth login"
_SETTINGS = "HF_ENDPOINT, HF_TOKEN, SSL_CERT_FILE and the proxy (HTTPS_PROXY)"


class HubUnreachable(PvaeZooError):
    """No answer from the Hub: what is in the cache can still be used."""


@contextmanager
def hub_errors(name: HubName, what: str = "such file") -> Iterator[None]:
    """Turn the errors of huggingface_hub about a repository into a `PvaeZooError`.

    Args:
        name: the repository.
        what: the file that is asked for.

    Raises:
        HubUnreachable: if the Hub gave no answer, or an answer that says to come back later.
        PvaeZooError: for everything else that goes wrong.
    """
    from httpx2 import HTTPError
    from huggingface_hub import errors

    _spell_what_servers_say()
    try:
        yield
    except errors.GatedRepoError as error:
        url = f"{endpoint()}/{name.repo}"
        raise PvaeZooError(f"{name} asks for its terms to be accepted: do so at {url}, then {_TOKEN}") from error
    except errors.RepositoryNotFoundError as error:
        raise PvaeZooError(
            f"no repository {name.repo} at {endpoint()}, or it is private: check the spelling, or {_TOKEN}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise PvaeZooError(f"{name.repo} has no revision {name.revision!r}: give a tag or a branch") from error
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise _not_cached(name, error) from error
        raise PvaeZooError(f"{name} is no bundle, or not a whole one: it has no {what}") from error
    except errors.HFValidationError as error:
        raise PvaeZooError(f"{name} is no name of a repository: {_line(error)}") from error
    except errors.OfflineModeIsEnabled as error:
        raise HubUnreachable(f"{name}: HF_HUB_OFFLINE is set, so the Hub is not asked: unset it") from error
    except errors.HfHubHTTPError as error:
        raise _http_error(name, error) from error
    except (HTTPError, ConnectionError, TimeoutError) as error:
        raise HubUnreachable(_unreachable(name, error)) from error
    except OSError as error:
        raise _os_error(name, error) from error
    except PvaeZooError:
        raise
    except Exception as error:
        # So the client wraps what stopped a forced download or an upload.
        if isinstance(error, ValueError | RuntimeError) and isinstance(error.__cause__, OSError | HTTPError):
            raise _wrapped(name, error.__cause__) from error
        raise _badly_set_up(name, error) from error  # an unknown proxy or port, a token that is no header, ...


def _spell_what_servers_say() -> None:
    """The client prints warnings that a server sends; a terminal is not to obey them."""
    for handler in logging.getLogger("huggingface_hub").handlers:
        if _spelled not in handler.filters:
            handler.addFilter(_spelled)


def _spelled(record: logging.LogRecord) -> bool:
    record.msg, record.args = spelled_lines(record.getMessage()), ()
    return True


def endpoint() -> str:
    """The Hub that is asked, ``HF_ENDPOINT``."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def reachability(seconds: float = 5.0) -> str:
    """Which Hub is asked and whether it answers, in words."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return f"{endpoint()}, not asked: HF_HUB_OFFLINE is set"
    try:
        status = get_session().head(endpoint(), timeout=seconds).status_code
    except Exception as error:  # a proxy or a certificate may fail in many ways, and none of them stops the doctor
        return f"{endpoint()} cannot be reached: {_line(error)}"
    return f"{endpoint()} answers" + (f" {status}" if status >= 400 else "")


def _not_cached(name: HubName, error: Exception) -> PvaeZooError:
    """The client says this both for a file that is not cached and for a Hub that could not be asked for it."""
    from huggingface_hub import constants

    cause = error.__cause__
    if constants.HF_HUB_OFFLINE:
        return HubUnreachable(f"{name}: HF_HUB_OFFLINE is set, so the Hub is not asked: unset it")
    return _wrapped(name, cause or error)


def _wrapped(name: HubName, cause: BaseException) -> PvaeZooError:
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(cause, HfHubHTTPError):
        return _http_error(name, cause)
    if isinstance(cause, OSError) and cause.errno is not None:
        return _os_error(name, cause)
    return HubUnreachable(_unreachable(name, cause))


def _http_error(name: HubName, error: Exception) -> PvaeZooError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return PvaeZooError(f"{name}: {endpoint()} refuses the token ({status}): {_TOKEN}")
    if status == 429 or (status is not None and status >= 500):
        return HubUnreachable(f"{name}: {endpoint()} answers {status}: try again in a few minutes")
    return PvaeZooError(f"{name}: {endpoint()} answers {status}: {_line(error)}")


def _unreachable(name: HubName, error: BaseException) -> str:
    return (
        f"{name}: {endpoint()} cannot be reached ({_line(error)}): check the network, the proxy (HTTPS_PROXY) and "
        "HF_ENDPOINT, or use --offline"
    )


def _badly_set_up(name: HubName, error: BaseException) -> PvaeZooError:
    return PvaeZooError(f"{name}: {endpoint()} cannot be asked ({_line(error)}): check {_SETTINGS}")


def _os_error(name: HubName, error: OSError) -> PvaeZooError:
    if isinstance(error, ssl.SSLError) or (error.errno == errno.ENOENT and error.filename is None):  # no certificates
        return _badly_set_up(name, error)
    if error.errno is None:  # the client's own: a length that is not what was announced
        return HubUnreachable(f"{name}: the download is not whole ({_line(error)}): pull again")
    if error.errno in (errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ENETUNREACH, errno.EHOSTUNREACH):
        return HubUnreachable(_unreachable(name, error))
    return write_error(Path(error.filename) if error.filename else cache_folder(), error)


def _line(error: BaseException) -> str:
    """The first line of what a client or a server says, fit for a terminal."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown((lines or [type(error).__name__])[0], 200)
