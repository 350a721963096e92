package conformance

// discoveryCases are the tests of section 8.
func discoveryCases() []testCase {
	return append(without(notApplicable, "conditional on discovery by DHCP: the bridge's controllers are configured", map[string]string{
		"8.1": "What the agent asks for", "8.2": "What the agent makes of the options", "8.3": "A name leads to a DNS query",
	}), without(notApplicable, "conditional on mDNS: the bridge is no device of a local network", map[string]string{
		"8.4": "mDNS", "8.5": "mDNS tells of transports", "8.6": "The DNS records", "8.7": "A request is answered",
	})...)
}
