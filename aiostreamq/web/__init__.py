"""The dashboard: an ASGI application that shows queues in a browser. Needs `aiostreamq[web]`."""

from aiostreamq.web.access import Access, basic_login, proxy_login
from aiostreamq.web.dashboard import dashboard

__all__ = ["Access", "basic_login", "dashboard", "proxy_login"]
