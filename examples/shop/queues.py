"""The queues of the shop: the only module that knows where tasks run.

aiostreamq run examples.shop.queues:orders_queue examples.shop.queues:mail_queue
"""

from aiostreamq import Queue
from examples.shop import mail, orders
from examples.shop.settings import settings

orders_queue = Queue(settings.redis_url, name=f"{settings.prefix}.orders")
orders_queue.include(orders.tasks, prefix="orders.")

mail_queue = Queue(settings.redis_url, name=f"{settings.prefix}.mail")
mail_queue.include(mail.tasks, prefix="mail.")
