"""Written by `manage.py makemigrations`."""
