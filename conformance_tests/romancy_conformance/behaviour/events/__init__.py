"""Events between workflows and from outside: by key, to all that listen, to one instance."""
