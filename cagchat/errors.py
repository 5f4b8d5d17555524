"""Every error that cagchat raises on purpose: one sentence for the reader and one hint.

    CagchatError
    ├── UsageError               exit code 2: the command line is wrong, the value of a flag too
    ├── Stopped                  exit code 130: Ctrl-C; what was done is kept
    ├── BookError                the document cannot be used
    │   ├── BookTooLong          it does not fit the model's context
    │   └── PasswordNeeded       it is locked (in documents.password)
    ├── ModelError               the GGUF cannot be used
    │   └── DownloadError        it could not be fetched (in models.download.refusals)
    │       └── Broken           the connection failed, which another attempt may mend
    ├── EngineError              llama.cpp refused something
    │   ├── EngineDied           the engine's process ended: signal, last log lines
    │   ├── EngineCancelled      stopped on request; positions are still true
    │   ├── ContextFull          no free cell left in the KV cache
    │   └── OutOfRoom            a machine too small for a measurement (in bench.scaling)
    ├── StateError               a saved state cannot be used
    │   ├── StateDamaged         its bytes are not what was written
    │   └── StateMismatch        it was made with another setting: says which field
    ├── StorageError             disk full, folder not writable
    ├── SessionError             no such chat
    └── ConfigError              a value in a file or a variable is wrong: file, key, nearest valid key

Messages are whole sentences with the path or number in them; hints say what to do next.
"""

from __future__ import annotations

from functools import partial


class CagchatError(Exception):
    """Base of all errors: `message` is one sentence, `hint` what to do, `exit_code` what the command returns."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(CagchatError):
    """The command line asks for something impossible."""

    exit_code = 2


class Stopped(CagchatError):
    """The user stopped the work; what was done is kept."""

    exit_code = 130


class BookError(CagchatError):
    """The document is missing, empty, binary, unreadable or of an unknown kind."""


class BookTooLong(BookError):
    """The book and a chat about it need more positions than the model's context has."""


class ModelError(CagchatError):
    """The model file is missing, damaged or not a language model."""


class EngineError(CagchatError):
    """The engine refused or failed an operation; it is still alive."""


class EngineDied(EngineError):
    """The engine's process ended. Everything on disk is intact; restarting and restoring goes on.

    `reason` is the signal's name ("SIGSEGV") or the exit code; `log_lines` are the last lines it wrote.
    """

    reason: str = ""
    log_lines: tuple[str, ...] = ()


class EngineCancelled(EngineError):
    """An operation ended early because it was asked to; the engine's positions are read from its cache."""


class ContextFull(EngineError):
    """The KV cache has no free cell for the next token."""


class StateError(CagchatError):
    """A saved state cannot be used."""


class StateDamaged(StateError):
    """The bytes of a saved state are not the bytes that were written."""


class StateMismatch(StateError):
    """A saved state was made with a setting that differs from the one asked for: `field` names it."""

    def __init__(self, message: str, hint: str = "", *, field: str) -> None:
        super().__init__(message, hint)
        self.field = field

    def __reduce__(self) -> tuple[partial[StateMismatch], tuple[str, str]]:
        # Errors cross the pipe from the engine's process; without this the field would be missing on the way back.
        return partial(StateMismatch, field=self.field), (self.message, self.hint)


class StorageError(CagchatError):
    """The disk is full or a folder cannot be written."""


class SessionError(CagchatError):
    """No chat answers to that name, or several do."""


class ConfigError(CagchatError):
    """A configuration value is unknown or out of range."""
