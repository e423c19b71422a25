"""Its settings."""

import os

from aiostreamq import Retry

SECRET_KEY = "only in tests"  # it guards nothing
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.frameworks.django_project.urls"
INSTALLED_APPS = ["tests.frameworks.django_project.shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DJANGO_DB", ":memory:"),
        "OPTIONS": {"timeout": 20},
    }
}
TASKS = {
    "default": {
        "BACKEND": "aiostreamq.contrib.django.AioStreamQBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"name": "shop", "enqueue_timeout": "2s"},
    },
    "after_commit": {
        "BACKEND": "aiostreamq.contrib.django.AioStreamQBackend",
        "OPTIONS": {"name": "shop-orders", "on_commit": True},
    },
    "stubborn": {
        "BACKEND": "aiostreamq.contrib.django.AioStreamQBackend",
        "OPTIONS": {"name": "shop-retries", "retry": Retry(3, base=0.01), "timeout": "20s"},
    },
}
