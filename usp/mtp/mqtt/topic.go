package mqtt

import (
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// escaper keeps characters with a meaning in topics out of the level that holds
// an endpoint id. Ids made by this program have none of them, for they are
// percent-encoded there already, and go into topics as they are. In 3.1.1 %2F has
// a meaning too: it is the slash of a topic in "/reply-to=".
func escaper(version string) *strings.Replacer {
	if version == version311 {
		return strings.NewReplacer("/", "%252F", "%2F", "%252F", "+", "%2B", "#", "%23")
	}
	return strings.NewReplacer("/", "%2F", "+", "%2B", "#", "%23")
}

// replyTo stands between the topic of a 3.1.1 PUBLISH and the sender's own.
const replyTo = "/reply-to="

// withReplyTo returns the topic to publish on, with that of the answer (R-MQTT.24).
func withReplyTo(topic, reply string) string {
	return topic + replyTo + strings.ReplaceAll(reply, "/", "%2F")
}

// cutReplyTo undoes withReplyTo (R-MQTT.25). Reply is "" where the sender has
// told none.
func cutReplyTo(published string) (topic, reply string) {
	at := strings.LastIndex(published, replyTo)
	if at < 0 {
		return published, ""
	}
	return published[:at], strings.ReplaceAll(published[at+len(replyTo):], "%2F", "/")
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
	if t.cfg.single != nil {
		return t.standing.Settings().Inbox
	}
	return t.topic.Expand(t.escape.Replace(string(endpoint)))
}

// AgentAddress returns AgentTopic as an address.
func (t *Transport) AgentAddress(endpoint usp.EndpointID) mtp.Address {
	return t.cfg.address(t.AgentTopic(endpoint))
}

func (c *Config) address(topic string) mtp.Address {
	a := mtp.Address{Protocol: mtp.MQTT, Topic: topic}
	if c.Version == version311 {
		a.Version = c.Version
	}
	return a
}

// localEndpoint returns the endpoint whose topic this is, "" for a shared one
// and for an id that had to be escaped: the record's to_id tells then.
func (t *Transport) localEndpoint(topic string) usp.EndpointID {
	t.mu.Lock()
	listener, listening := t.listening[topic]
	t.mu.Unlock()
	if listening {
		return listener
	}
	if t.cfg.single != nil {
		return t.cfg.Endpoint
	}
	id := t.topic.Match(topic)
	if strings.Contains(string(id), "/") || isEscaped(string(id)) {
		return ""
	}
	return id
}

func isEscaped(id string) bool {
	return strings.Contains(id, "%2F") || strings.Contains(id, "%2B") || strings.Contains(id, "%23") || strings.Contains(id, "%252F")
}

// checkFilter reports why nothing can be subscribed to with a topic filter (MQTT
// 5, 4.7.1).
func checkFilter(filter string) error {
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		if strings.ContainsAny(l, "+#") && len(l) > 1 || l == "#" && i < len(levels)-1 {
			return fmt.Errorf("mqtt: %q: a wildcard must be a whole level, and # the last", filter)
		}
	}
	if filter == "" || len(filter) > 65535 || strings.Contains(filter, "\x00") || strings.HasPrefix(filter, sharePrefix) {
		return fmt.Errorf("mqtt: %q is not a topic filter", filter)
	}
	return nil
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
