"""Its settings."""

SECRET_KEY = "for the example only"  # noqa: S105  # it guards nothing
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}

TASKS = {
    "default": {
        "BACKEND": "aiostreamq.contrib.django.AioStreamQBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"name": "shop"},
    }
}
