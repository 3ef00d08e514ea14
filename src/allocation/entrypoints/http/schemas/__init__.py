"""The schemas of requests and answers by resource, from which the OpenAPI document is made."""
