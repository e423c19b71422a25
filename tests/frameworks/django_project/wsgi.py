"""For gunicorn, which imports this before it forks its workers."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.frameworks.django_project.settings")
application = get_wsgi_application()

from tests.frameworks.django_project.shop.tasks import add  # noqa: E402  # after the set-up

if os.environ.get("ENQUEUE_AT_IMPORT"):
    # The parent uses the queue, with a thread and connections that its children must not share.
    add.enqueue(0, 0)
