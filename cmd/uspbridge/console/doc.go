// Package console is the operator's face of the bridge: a JSON API, the same as
// web pages, health checks and metrics, on one listener of its own.
//
// It knows neither protocol. What it shows of devices it asks from a Fleet,
// which the program implements over package translate; `uspbridge device` and
// `uspbridge mapping` are clients of its JSON API (see Client).
//
//	GET    /api/devices?filter=&after=&limit=
//	GET    /api/devices/{endpoint}
//	DELETE /api/devices/{endpoint}                 forget
//	POST   /api/devices/{endpoint}/refresh
//	GET    /api/devices/{endpoint}/explain?path=
//	GET    /api/devices/{endpoint}/coverage
//	GET    /api/devices/{endpoint}/audit?limit=
//	POST   /api/captures?endpoint=&sessions=&…     a stream of lines
//	GET    /healthz /readyz /metrics
//
// An endpoint is one path segment, percent-encoded as URLs want it. Failures
// are {"error": "…"} with status 400 (bad request), 404 (no such device), 504
// (the device did not answer) or 500.
package console
