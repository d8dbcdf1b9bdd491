"""Why something of a user's own could not be done, in one line."""

import re

_REMEDIES = {
    r"missing \d+ required .*argument": (
        "give the arguments of its call by name, as in call={'train': True}"
    ),
    r"missing a required argument": (
        "give the arguments of its call by name, as in call={'train': True}"
    ),
    r"unexpected keyword argument": "look at the names in call=",
    r"unbound axis name": (
        "its collectives need an axis that only training has; build it without "
        "axis_name"
    ),
    r"unbound modules": "give the module itself, and arguments of its call by call=",
}


def reason_of(error: Exception) -> str:
    """Returns the message of an error in one line, with a remedy if there is one.

    Errors but ValueError, which are somebody else's, are named.
    """
    lines = [line.strip() for line in str(error).strip().splitlines()]
    said = " ".join(line for line in lines if line and set(line) != {"-"})
    said = said.partition("For simplicity, JAX has removed")[0]
    said = re.sub(r"\s*\(https://flax\S*\)", "", said).strip()
    if len(said) > 400:
        said = f"{said[:400]}..."
    if not isinstance(error, ValueError) or not said:
        said = f"{type(error).__name__}: {said}".removesuffix(": ")
    remedy = next((r for text, r in _REMEDIES.items() if re.search(text, said)), "")
    return f"{said}; {remedy}" if remedy else said
