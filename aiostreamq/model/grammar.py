"""Grammar for messages."""


def counted(count: int, noun: str) -> str:
    """Return a number of things.

    >>> counted(1, "job"), counted(2, "job"), counted(0, "entry")
    ('1 job', '2 jobs', '0 entries')
    """
    if count == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {plural}"


def counting(count: int, noun: str, verb: str) -> str:
    """Return what a number of things do; *verb* is what several do.

    >>> counting(1, "job", "wait"), counting(2, "job", "are parked")
    ('1 job waits', '2 jobs are parked')
    """
    if count == 1:
        verb = f"is{verb.removeprefix('are')}" if verb.startswith("are") else f"{verb}s"
    return f"{counted(count, noun)} {verb}"


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article.

    >>> with_article("AsyncTask"), with_article("str")
    ('an AsyncTask', 'a str')
    """
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"
