package conformance

// coapCases are the tests of section 5.
func coapCases() []testCase {
	return without(notApplicable, "deprecated by the plan", map[string]string{
		"5.1": "A record in a CoAP message", "5.2": "A record that is too long for a CoAP message", "5.3": "An exchange", "5.4": "An exchange that times out",
		"5.5": "A wrong method", "5.6": "A wrong format", "5.7": "A malformed record", "5.8": "DTLS",
	})
}

// discoveryCases are the tests of section 8.
func discoveryCases() []testCase {
	return append(without(notApplicable, "conditional on discovery by DHCP: the bridge's controllers are configured", map[string]string{
		"8.1": "What the agent asks for", "8.2": "What the agent makes of the options", "8.3": "A name leads to a DNS query",
	}), without(notApplicable, "conditional on mDNS: the bridge is no device of a local network", map[string]string{
		"8.4": "mDNS", "8.5": "mDNS tells of transports", "8.6": "The DNS records", "8.7": "A request is answered",
	})...)
}
