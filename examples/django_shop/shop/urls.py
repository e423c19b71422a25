"""Its addresses."""

from django.urls import path

from shop import views

urlpatterns = [
    path("pay", views.pay),
    path("customers/<str:address>", views.customer),
    path("status/<str:result_id>", views.status),
]
