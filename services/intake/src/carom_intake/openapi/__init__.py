"""The API as an OpenAPI document, and as a page to read. Built from data once; tests keep it true."""
