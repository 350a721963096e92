// Package mqtt is the MQTT 5 transport of USP (TR-369 "MQTT Binding"): one
// connection to a broker carries the records of all hosted endpoints, or, with
// one shared topic, those of a controller.
//
// It knows topics and MQTT properties and nothing of records. Records go up to
// an mtp.Handler, in the field package agent; answers come back through Send.
package mqtt
