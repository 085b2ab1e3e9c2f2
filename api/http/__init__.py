"""What any HTTP service needs: bounds on what strangers send, hosts, origins, headers, files."""
