"""The object store: under which key everything lies, and how it is reached."""
