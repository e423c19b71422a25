"""Prometheus: the metrics of queues and of the workers of this process."""

from aiostreamq.contrib.prometheus.endpoint import QueueMetrics

__all__ = ["QueueMetrics"]
