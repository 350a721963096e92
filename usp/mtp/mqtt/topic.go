package mqtt

import (
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// escaper keeps characters with a meaning in topics out of the level that holds
// an endpoint id. Ids made by this program have none of them, for they are
// percent-encoded there already, and go into topics as they are.
func escaper() *strings.Replacer {
	return strings.NewReplacer("/", "%2F", "+", "%2B", "#", "%23")
}

// checkTemplate reports why a template makes no topics.
func checkTemplate(t mtp.Template) error {
	sample := t.Expand("x")
	if strings.ContainsAny(sample, "+#\x00") || strings.HasPrefix(sample, "$") {
		return fmt.Errorf("mqtt: topic %q: wildcards and a leading $ are not allowed", t.Expand(mtp.EndpointPlaceholder))
	}
	if t.PerEndpoint() && !strings.Contains("/"+t.Expand("\x00")+"/", "/\x00/") {
		return fmt.Errorf("mqtt: topic %q: %s must be a whole level, between slashes", t.Expand(mtp.EndpointPlaceholder), mtp.EndpointPlaceholder)
	}
	return nil
}

// AgentTopic returns the topic a hosted endpoint listens on, which is its "reply
// to" topic too: that of the broker's Response Information if it gives one
// (R-MQTT.21), else that of the template.
func (t *Transport) AgentTopic(endpoint usp.EndpointID) string {
	if info := t.responseInfo.Load(); info != nil {
		return *info
	}
	return t.topic.Expand(t.escape.Replace(string(endpoint)))
}

// AgentAddress returns AgentTopic as an address.
func (t *Transport) AgentAddress(endpoint usp.EndpointID) mtp.Address {
	return mtp.Address{Protocol: mtp.MQTT, Topic: t.AgentTopic(endpoint)}
}

// localEndpoint returns the endpoint whose topic this is, "" for a shared one
// and for an id that had to be escaped: the record's to_id tells then.
func (t *Transport) localEndpoint(topic string) usp.EndpointID {
	id := t.topic.Match(topic)
	if strings.Contains(string(id), "/") || t.isEscaped(string(id)) {
		return ""
	}
	return id
}

func (t *Transport) isEscaped(id string) bool {
	return strings.Contains(id, "%2F") || strings.Contains(id, "%2B") || strings.Contains(id, "%23")
}

// checkPublishTopic reports why nothing can be published on topic.
func checkPublishTopic(topic string) error {
	if topic == "" {
		return fmt.Errorf("mqtt: the peer has told no topic and none is configured: %w", mtp.ErrUnreachable)
	}
	if strings.ContainsAny(topic, "+#\x00") || len(topic) > 65535 {
		return fmt.Errorf("mqtt: %q is not a topic to publish on", topic)
	}
	return nil
}
