package record

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// sessionPayloads is the field number of SessionContextRecord.payload.
const sessionPayloads = 7

// Unwrap decodes a record and checks what is required of every record and of
// its type, but not that it is for us: R-E2E.1 is the caller's, who knows which
// endpoints there are. The error is an *Error, which knows its answer.
func Unwrap(b []byte, lim Limits) (*usppb.Record, error) {
	lim = lim.withDefaults()
	if len(b) > lim.Record {
		return nil, &Error{Code: usp.ErrResourcesExceeded, Msg: "the record is larger than accepted"}
	}
	o, err := outlineOf(b)
	if err != nil {
		return nil, o.refuse(usp.ErrRecordParsing, err, "the record is not valid protobuf: %v", err)
	}
	if o.types != 1 { // R-ENC.3
		e := o.refuse(usp.ErrRecordFields, nil, "the record has %d record types of those known, there must be one", o.types)
		e.discard = true // R-ENC.4
		return nil, e
	}
	if count(o.session, sessionPayloads, lim.Elements) > lim.Elements {
		return nil, o.refuse(usp.ErrResourcesExceeded, nil, "the record has more than %d payloads", lim.Elements)
	}
	r := new(usppb.Record)
	if err := proto.Unmarshal(b, r); err != nil {
		return nil, o.refuse(usp.ErrRecordParsing, err, "the record is not valid protobuf: %v", err)
	}
	if code, why := fault(r); why != "" {
		return nil, o.refuse(code, nil, "%s", why)
	}
	return r, nil
}

// fault names the first value of a record that is not allowed, "" if all are.
func fault(r *usppb.Record) (usp.ErrorCode, string) {
	if !validVersion(r.GetVersion()) { // R-MTP.4b; newer ones are tolerated (TR-369 "Record Definition", version)
		return usp.ErrRecordFields, "version is missing or not Major.Minor"
	}
	if err := usp.EndpointID(r.GetToId()).Validate(); err != nil {
		return usp.ErrRecordFields, "to_id: " + err.Error()
	}
	if err := usp.EndpointID(r.GetFromId()).Validate(); err != nil {
		return usp.ErrRecordFields, "from_id: " + err.Error()
	}
	if _, known := usppb.Record_PayloadSecurity_name[int32(r.GetPayloadSecurity())]; !known { // R-ENC.2
		return usp.ErrRecordFields, "payload_security has an unknown value"
	}
	switch t := r.GetRecordType().(type) {
	case *usppb.Record_NoSessionContext:
		if len(t.NoSessionContext.GetPayload()) == 0 { // R-E2E.26
			return usp.ErrRecordFields, "the payload is empty"
		}
		if r.GetPayloadSecurity() != usppb.Record_PLAINTEXT {
			return usp.ErrSecureSessionNotSupp, "secure payloads are not supported without a session context"
		}
	case *usppb.Record_MqttConnect:
		if _, known := usppb.MQTTConnectRecord_MQTTVersion_name[int32(t.MqttConnect.GetVersion())]; !known { // R-ENC.2
			return usp.ErrRecordFields, "the MQTT version is unknown"
		}
		if t.MqttConnect.GetSubscribedTopic() == "" { // R-MTP.4b
			return usp.ErrRecordFields, "subscribed_topic is missing"
		}
	case *usppb.Record_StompConnect:
		if _, known := usppb.STOMPConnectRecord_STOMPVersion_name[int32(t.StompConnect.GetVersion())]; !known { // R-ENC.2
			return usp.ErrRecordFields, "the STOMP version is unknown"
		}
		if t.StompConnect.GetSubscribedDestination() == "" { // R-MTP.4b
			return usp.ErrRecordFields, "subscribed_destination is missing"
		}
	}
	return 0, ""
}

// validVersion reports whether v is Major.Minor.
func validVersion(v string) bool {
	major, minor, ok := strings.Cut(v, ".")
	return ok && digits(major) && digits(minor)
}

func digits(s string) bool {
	return 0 < len(s) && len(s) <= 4 && strings.Trim(s, "0123456789") == ""
}
