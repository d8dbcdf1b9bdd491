"""What a failing command says: one line that a terminal shows as it is."""

import logging

_MOST = 4000  # characters of a line; lists of choices are long


class EscapedFormatter(logging.Formatter):
    """Writes a record as its message, with control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, and the traceback of a record that has one."""
        from jaxproxy.options import printable

        line = printable(record.getMessage())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def one_line(error: BaseException) -> str | None:
    """Returns what to say of an error that is the user's or the machine's.

    None for an error that is neither, which is a fault of this package: its traceback
    is worth more than a line.
    """
    from jaxproxy.options import printable

    text = _reason(error)
    if text is None:
        return None
    text = printable(" ".join(text.split()))
    if len(text) > _MOST:
        text = f"{text[:_MOST]}... ({len(text)} characters)"
    return text


def _reason(error: BaseException) -> str | None:
    extra = isinstance(error, ImportError) and "pip install" in str(error)
    if isinstance(error, ValueError) or extra:
        return str(error)
    if isinstance(error, OSError):
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}{error.strerror or error}"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return f"out of memory ({error}); a smaller request needs less"
    if isinstance(error, RuntimeError) and not isinstance(error, RecursionError):
        from jaxproxy.startup import known_platforms

        try:
            with known_platforms():
                raise error
        except ValueError as known:
            return str(known)
        except RuntimeError:
            return None
    return None
