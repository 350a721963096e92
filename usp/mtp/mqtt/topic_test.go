package mqtt

import (
	"strings"
	"testing"
)

func TestReplyToTopics(t *testing.T) { // R-MQTT.24, R-MQTT.25
	tests := []struct{ published, topic, reply string }{
		// the example of the standard
		{"usp/agents/cid:3AA3F8:my-unique-usp-id-42/reply-to=usp%2Fcontrollers%2Foui:00256D:my-unique-bbf-id-42",
			"usp/agents/cid:3AA3F8:my-unique-usp-id-42", "usp/controllers/oui:00256D:my-unique-bbf-id-42"},
		{"a/reply-to=b", "a", "b"},
		{"a/reply-to=x/reply-to=b%2Fc", "a/reply-to=x", "b/c"}, // the last one counts
		{"a/reply-to=", "a", ""},
		{"a", "a", ""},
		{"a/b%2Fc", "a/b%2Fc", ""},
	}
	for _, tt := range tests {
		topic, reply := cutReplyTo(tt.published)
		if topic != tt.topic || reply != tt.reply {
			t.Errorf("%q: topic %q, reply %q, want %q, %q", tt.published, topic, reply, tt.topic, tt.reply)
		}
		if tt.reply == "" {
			continue
		}
		if got := withReplyTo(tt.topic, tt.reply); got != tt.published {
			t.Errorf("written as %q, want %q", got, tt.published)
		}
	}
}

// FuzzReplyTo: what is written is read again, whatever the topics are.
func FuzzReplyTo(f *testing.F) {
	f.Add("usp/agent/os::1-2", "usp/controller/1")
	f.Add("a/reply-to=b", "%2F")
	f.Fuzz(func(t *testing.T, topic, reply string) {
		cutReplyTo(topic)
		if strings.Contains(reply, "%2F") || strings.Contains(reply, replyTo) {
			return // has no form in the standard
		}
		published := withReplyTo(topic, reply)
		if gotTopic, gotReply := cutReplyTo(published); gotTopic != topic || gotReply != reply {
			t.Errorf("%q with %q came back as %q with %q", topic, reply, gotTopic, gotReply)
		}
	})
}

func TestFilters(t *testing.T) {
	for _, good := range []string{"a", "a/b", "+", "#", "a/+/b", "a/#", "+/+/#", "/", "a b"} {
		if err := checkFilter(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a+", "a/b#", "#/a", "a/#/b", "a\x00", "$share/g/a", strings.Repeat("a", 65536)} {
		if err := checkFilter(bad); err == nil {
			t.Errorf("%q is taken for a topic filter", bad[:min(len(bad), 20)])
		}
	}
}
