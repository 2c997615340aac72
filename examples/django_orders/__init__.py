"""Orders on the web with Django: the order's row and its workflow are one commit.

    pip install 'romancy[django]' gunicorn
    python -m examples.django_orders.manage migrate
    gunicorn --threads 4 examples.django_orders.wsgi
    curl -X PUT 'localhost:8000/orders/a-1?item=lamp'
    curl -X POST localhost:8000/orders/a-1/payment
    curl localhost:8000/orders/a-1

Kill the server at any moment and start it again: each order has its row and its workflow, or neither, and is shipped
once. A client may repeat every request: it gets the same answer. Another item under the same id is a conflict (409).
`python -m examples.django_orders.manage romancy list` shows the workflows, and so does the admin.
"""
