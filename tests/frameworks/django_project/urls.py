"""Its addresses."""

from django.urls import path

from tests.frameworks.django_project.shop import views

urlpatterns = [
    path("tasks/<str:name>", views.enqueue),
    path("async/tasks/<str:name>", views.aenqueue),
    path("bridged/tasks/<str:name>", views.bridged),
    path("results/<str:result_id>", views.result),
    path("async/results/<str:result_id>", views.aresult),
    path("orders", views.order),
    path("async/orders", views.aorder),
]
