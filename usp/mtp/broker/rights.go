package broker

import (
	"fmt"
	"path"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// replyTo begins the level of an MQTT 3.1.1 topic that tells where answers go
// (TR-369 R-MQTT.24).
const replyTo = "/reply-to="

// controllerTopic is the topic of a controller that has none in the configuration:
// one that is reached through the bridge, not by it.
const controllerTopic = "usp/controller/" + mtp.EndpointPlaceholder

// rights are what one endpoint may do.
type rights struct {
	own       string   // its topic
	subscribe []string // topic filters; what they cover may be subscribed to
	publish   []string // the same for topics to publish on
}

// rightsOf returns the rights of an endpoint. A controller is one that has a topic
// in the configuration; any other endpoint is taken for an agent, whose rights a
// Rule can add to.
func (b *Broker) rightsOf(id usp.EndpointID) *rights {
	r := &rights{}
	if topic, ok := b.cfg.Controllers[id]; ok {
		if r.own = topic; topic == "" {
			r.own = expand(controllerTopic, string(id))
		}
		r.publish = []string{b.agents.Expand("+")}
	} else {
		r.own = b.agents.Expand(string(id))
		r.publish = append(r.publish, expand(controllerTopic, "+"))
		for controller, topic := range b.cfg.Controllers {
			if topic == "" {
				topic = expand(controllerTopic, string(controller))
			}
			// What is written to an agent's topic of a controller's name goes to the
			// bridge, which passes it on to where the controller is.
			r.publish = append(r.publish, topic, b.agents.Expand(string(controller)))
		}
	}
	r.subscribe = []string{r.own, r.own + "/#"} // below it is what comes by MQTT 3.1.1
	for _, rule := range b.cfg.Rules {
		if ok, err := path.Match(rule.Endpoint, string(id)); err != nil || !ok {
			continue
		}
		for _, t := range rule.Subscribe {
			r.subscribe = append(r.subscribe, expand(t, string(id)))
		}
		for _, t := range rule.Publish {
			r.publish = append(r.publish, expand(t, string(id)))
		}
	}
	return r
}

func expand(topic, id string) string { return strings.ReplaceAll(topic, mtp.EndpointPlaceholder, id) }

// maySubscribe reports whether a topic filter, or a topic, has nothing in it that
// is another's.
func (r *rights) maySubscribe(filter string) bool {
	if rest, shared := strings.CutPrefix(filter, "$share/"); shared {
		_, filter, _ = strings.Cut(rest, "/")
	}
	return covered(r.subscribe, filter)
}

func (r *rights) mayPublish(topic string) bool {
	topic, reply, _ := strings.Cut(topic, replyTo)
	if strings.Contains(reply, replyTo) {
		return false // the receiver looks at the last: a topic below one's own, which nobody has checked
	}
	return covered(r.publish, topic) && r.mayReplyTo(unescape(reply))
}

// unescape returns the topic behind replyTo as it is (R-MQTT.24). What is %2F in the
// topic itself has to be escaped once more.
func unescape(topic string) string {
	return strings.NewReplacer("%252F", "%2F", "%2F", "/").Replace(topic)
}

// mayReplyTo reports whether answers may be asked for at a topic: at one's own, or
// others would be answered what they have not asked. "" asks for none.
func (r *rights) mayReplyTo(topic string) bool { return topic == "" || covered(r.subscribe, topic) }

func covered(patterns []string, filter string) bool {
	for _, p := range patterns {
		if covers(p, filter) {
			return true
		}
	}
	return false
}

// covers reports whether every topic that a filter matches is matched by pattern,
// too (MQTT 5, 4.7).
func covers(pattern, filter string) bool {
	if filter == "" || strings.HasPrefix(filter, "$") != strings.HasPrefix(pattern, "$") {
		return false
	}
	for {
		p, restP, moreP := strings.Cut(pattern, "/")
		f, restF, moreF := strings.Cut(filter, "/")
		switch {
		case p == "#":
			return true
		case f == "#", p != "+" && p != f:
			return false
		case !moreF:
			return !moreP || restP == "#" // a/# matches a
		case !moreP:
			return false
		}
		pattern, filter = restP, restF
	}
}

// checkFilter reports why there is no such topic filter.
func checkFilter(filter string) error {
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		if level == "#" && i != len(levels)-1 || len(level) > 1 && strings.ContainsAny(level, "+#") {
			return fmt.Errorf("%q is not a topic filter: + stands for a whole level, # for all at the end", filter)
		}
	}
	if filter == "" || strings.ContainsAny(filter, "\x00{}") {
		return fmt.Errorf("%q is not a topic filter; only %s can stand in braces", filter, mtp.EndpointPlaceholder)
	}
	return nil
}

// checkEndpoint reports why an id cannot be a level of a topic.
func checkEndpoint(id usp.EndpointID) error {
	if err := id.Validate(); err != nil {
		return err
	}
	if strings.ContainsAny(string(id), "/+#\x00") {
		return fmt.Errorf("endpoint id %q: / + and # have a meaning in topics; percent-encode them", string(id))
	}
	return nil
}
