"""English grammar for messages: plurals, verbs and articles."""


def counted(count: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "job"), counted(2, "job"), counted(0, "entry")
    ('1 job', '2 jobs', '0 entries')
    """
    if count == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {plural}"


def counting(count: int, noun: str, verb: str) -> str:
    """Return a number with its noun and verb; *verb* is the plural form.

    >>> counting(1, "job", "wait"), counting(2, "job", "are parked")
    ('1 job waits', '2 jobs are parked')
    """
    if count == 1:
        verb = f"is{verb.removeprefix('are')}" if verb.startswith("are") else f"{verb}s"
    return f"{counted(count, noun)} {verb}"


# Letters whose names begin with a vowel sound, as in "an M".
_SPOKEN_WITH_VOWEL = frozenset("AEFHILMNORSX")


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article; capitals at its start are spelled out.

    >>> with_article("AsyncTask"), with_article("str"), with_article("M"), with_article("UUID")
    ('an AsyncTask', 'a str', 'an M', 'a UUID')
    """
    first = noun[:1]
    is_spelled = first.isupper() and (len(noun) == 1 or noun[1].isupper())
    has_vowel = first in _SPOKEN_WITH_VOWEL if is_spelled else first.lower() in {*"aeio"}
    return f"{'an' if has_vowel else 'a'} {noun}"
