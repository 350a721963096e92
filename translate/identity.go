package translate

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/usp"
)

// DefaultEndpointTemplate is the endpoint id that TR-369's "ops" authority
// scheme gives to a device (TR-369 R-ARC.2: <OUI>-<ProductClass>-<SerialNumber>).
const DefaultEndpointTemplate = "ops::{oui}-{product_class}-{serial}"

// maxInstanceID is the largest instance-id an authority scheme allows
// (TR-369 R-ARC.4), in characters after percent-encoding.
const maxInstanceID = 50

// uuidSpace is the name space of the version 5 UUIDs given to devices whose
// identity does not fit any other scheme.
var uuidSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("urn:dslforum-org:cwmp:DeviceId"))

// EndpointTemplate makes endpoint ids of device ids.
type EndpointTemplate struct{ text string }

// ParseEndpointTemplate checks a template: an endpoint id in which {oui},
// {product_class}, {serial} and {manufacturer} stand for the device's own. It
// must contain {serial}, or devices would share an id.
func ParseEndpointTemplate(text string) (EndpointTemplate, error) {
	if text == "" {
		text = DefaultEndpointTemplate
	}
	if !strings.Contains(text, "{serial}") {
		return EndpointTemplate{}, fmt.Errorf("endpoint id template %q: has no {serial}, so that devices would share an id", text)
	}
	filled := expand(text, cwmp.DeviceID{Manufacturer: "m", OUI: "001122", ProductClass: "p", SerialNumber: "s"})
	if strings.ContainsAny(filled, "{}") {
		return EndpointTemplate{}, fmt.Errorf("endpoint id template %q: only {oui}, {product_class}, {serial} and {manufacturer} can stand in it", text)
	}
	if err := usp.EndpointID(filled).Validate(); err != nil {
		return EndpointTemplate{}, fmt.Errorf("endpoint id template %q: %w", text, err)
	}
	return EndpointTemplate{text}, nil
}

// EndpointID returns the id of the agent that stands for a CPE. Without a
// product class, or where the instance-id gets longer than TR-369 allows, the
// default template falls back to os::<OUI>-<SerialNumber> and then to a
// version 5 UUID of the three, so that every CPE has one stable id.
func (t EndpointTemplate) EndpointID(id cwmp.DeviceID) usp.EndpointID {
	text := t.text
	if text == DefaultEndpointTemplate && id.ProductClass == "" {
		text = "os::{oui}-{serial}"
	}
	for _, candidate := range []string{text, "os::{oui}-{serial}"} {
		eid := expand(candidate, id)
		if len(instanceID(eid)) <= maxInstanceID && usp.EndpointID(eid).Validate() == nil && id.SerialNumber != "" {
			return usp.EndpointID(eid)
		}
	}
	return uuidEndpoint(id)
}

// uuidEndpoint returns the endpoint id that any device can have.
func uuidEndpoint(id cwmp.DeviceID) usp.EndpointID {
	name := id.OUI + "\x00" + id.ProductClass + "\x00" + id.SerialNumber
	return usp.EndpointID("uuid::" + uuid.NewSHA1(uuidSpace, []byte(name)).String())
}

func instanceID(eid string) string {
	parts := strings.SplitN(eid, ":", 3)
	return parts[len(parts)-1]
}

func expand(template string, id cwmp.DeviceID) string {
	return strings.NewReplacer(
		"{oui}", encodeInstance(id.OUI),
		"{product_class}", encodeInstance(id.ProductClass),
		"{serial}", encodeInstance(id.SerialNumber),
		"{manufacturer}", encodeInstance(id.Manufacturer),
	).Replace(template)
}

// encodeInstance percent-encodes what an instance-id may not contain as it is.
func encodeInstance(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
