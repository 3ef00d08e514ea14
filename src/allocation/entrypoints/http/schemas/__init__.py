"""The shapes of requests and answers by resource, which are also the schemas of the OpenAPI document."""
