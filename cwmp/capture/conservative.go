package capture

import (
	"bytes"
	"regexp"
)

// What a body that is not well-formed may keep: the tags of elements that CWMP
// and SOAP have, with attributes that say how to read them, and texts that are
// parameter paths or numbers of the protocol. Everything else is masked, a piece
// of a secret that looks like a tag included: `<Value>ab<cd>ef</Value>`.
var (
	knownTag = regexp.MustCompile(`^</?(?:[A-Za-z][\w-]*:)?(?:Envelope|Header|Body|ID|HoldRequests|NoMoreRequests|Inform|DeviceId|Manufacturer|OUI|` +
		`ProductClass|SerialNumber|Event|EventStruct|EventCode|CommandKey|MaxEnvelopes|CurrentTime|RetryCount|ParameterList|` +
		`ParameterValueStruct|ParameterInfoStruct|ParameterAttributeStruct|Name|Value|Writable|Notification|AccessList|string|` +
		`ParameterNames|ParameterPath|NextLevel|ParameterKey|Status|ObjectName|InstanceNumber|MethodList|` +
		`Fault|faultcode|faultstring|detail|FaultCode|FaultString|FaultStruct|SetParameterValuesFault|ParameterName|` +
		`TransferComplete|StartTime|CompleteTime|` +
		`(?:GetRPCMethods|GetParameter(?:Names|Values|Attributes)|SetParameter(?:Values|Attributes)|AddObject|DeleteObject|Reboot|` +
		`FactoryReset|Download|Upload|ScheduleInform|ScheduleDownload|Inform|TransferComplete)(?:Response)?)` +
		`(?:\s+(?:xmlns(?::[\w-]+)?|(?:[\w-]+:)?(?:type|arrayType|mustUnderstand|encodingStyle))\s*=\s*(?:"[\w:/.#\[\]() -]{0,80}"|'[\w:/.#\[\]() -]{0,80}'))*\s*/?>`)
	plainPath   = regexp.MustCompile(`^(?:InternetGatewayDevice|Device)\.(?:[A-Za-z_][\w-]*\.|\d{1,9}\.)*(?:[A-Za-z_][\w-]*)?$`)
	declaration = regexp.MustCompile(`^<\?xml version=["']1\.\d["'](?: encoding=["'][\w-]{1,20}["'])?(?: standalone=["'](?:yes|no)["'])?\s*\?>`)
)

// longestTag bounds what is looked at to find the end of a tag.
const longestTag = 2048

// conservative masks all of a body but what is known to be none of the CPE's.
func conservative(body []byte) []byte {
	out := make([]byte, 0, len(body))
	for pos := 0; pos < len(body); {
		rest := body[pos:min(len(body), pos+longestTag)]
		if body[pos] == '<' {
			tag := knownTag.Find(rest)
			if tag == nil {
				tag = declaration.Find(rest)
			}
			if tag != nil {
				out = append(out, tag...)
				pos += len(tag)
				continue
			}
		}
		end := pos + 1
		for end < len(body) && !(body[end] == '<' && knownTag.Match(body[end:min(len(body), end+longestTag)])) {
			end++
		}
		out = append(out, maskedText(body[pos:end])...)
		pos = end
	}
	return out
}

// maskedText masks a text and keeps the white space around it.
func maskedText(text []byte) []byte {
	word := trim(text)
	if len(word) == 0 || plainPath.Match(word) {
		return text
	}
	i := bytes.Index(text, word)
	out := append([]byte(nil), text[:i]...)
	return append(append(out, Mask...), text[i+len(word):]...)
}
