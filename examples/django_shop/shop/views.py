"""Its views."""

from django.http import HttpRequest, JsonResponse
from django.tasks import default_task_backend
from django.views.decorators.csrf import csrf_exempt

from shop.tasks import look_up, send_receipt


@csrf_exempt
def pay(request: HttpRequest) -> JsonResponse:
    """Have a receipt sent."""
    result = send_receipt.enqueue(request.POST["address"], int(request.POST["cents"]))
    return JsonResponse({"id": result.id})


async def customer(request: HttpRequest, address: str) -> JsonResponse:
    """Have a customer looked up."""
    result = await look_up.aenqueue(address)
    return JsonResponse({"id": result.id})


async def status(request: HttpRequest, result_id: str) -> JsonResponse:
    """Show what came of it."""
    result = await default_task_backend.aget_result(result_id)
    value = result.return_value if result.status == "SUCCESSFUL" else None
    return JsonResponse({"status": result.status, "value": value})
