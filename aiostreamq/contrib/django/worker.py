"""The queue of a worker: `aiostreamq run aiostreamq.contrib.django.worker:queue`.

`DJANGO_SETTINGS_MODULE` names the settings. If `TASKS` has several backends of this kind, `queue`
is that of "default", and each is found by its alias, as in `worker:queues.mail`.
"""

import django

django.setup()

from aiostreamq.contrib.django.serving import serve  # noqa: E402  # it imports the models of apps

queues = serve()
queue = getattr(queues, "default", None) or next(iter(vars(queues).values()))
