"""What lies below /v1: the images API of OpenAI, in its own shapes, over the jobs that everybody else makes."""

PATH = "/v1"
