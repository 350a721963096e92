package test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
)

// passphrase is where a Wi-Fi secret is in USP.
const passphrase = "Device.WiFi.AccessPoint.1.Security.KeyPassphrase"

// consoleToken opens the console of TestSecretsStaySecret.
const consoleToken = "token-0c5d8e1f77aa"

// TestSecretsStaySecret: a bridge is given passwords of every kind and does with
// them what they are for. None of them is in its log, in what its console tells,
// or in its store's file.
func TestSecretsStaySecret(t *testing.T) {
	secrets := map[string]string{
		"a user's password":               "pw-user-5b1c93e0",
		"a device's password":             "pw-device-a7740f2d",
		"a rule's password":               "pw-rule-19c0de55",
		"a wrong password":                "pw-wrong-6604ab31",
		"a passphrase":                    "pw-wifi-8e21b7c4",
		"a refused passphrase":            "pw-refused-" + strings.Repeat("5e0d", 20), // of 91 characters
		"the connection request's own":    "",                                         // made by the bridge
		"the former connection request's": "pw-connreq-41f2aa09",
		"the console's token":             consoleToken,
	}
	keys := map[string]any{
		"cwmp.auth.mode": "digest", "console.token": consoleToken,
		"cwmp.auth.users":                  writeFile(t, "users.yaml", "acs-user: {password: "+secrets["a user's password"]+"}\n"),
		"cwmp.connection_request.username": "acs", "cwmp.connection_request.password": secrets["the former connection request's"],
	}
	env := testenv.Start(t, program, testenv.Config{Token: consoleToken, Keys: keys})
	model := cpesim.TR181()
	out := env.Try("device", "credentials", "import", writeFile(t, "cpe.csv", fmt.Sprintf(
		"serial_number,username,password\nSEC1,own,%s\nGRP*,group,%s\n", secrets["a device's password"], secrets["a rule's password"])))
	if !strings.Contains(out, "2 added") {
		t.Fatalf("import: %s", out)
	}
	boot := func(m *cpesim.Model, serial, username, password string) *testenv.CPE {
		return env.Boot(cpesim.Config{Model: m, Username: username, Password: password, Identity: cwmp.DeviceID{SerialNumber: serial}})
	}
	cpes := []*testenv.CPE{
		boot(model, "SEC1", "own", secrets["a device's password"]),
		boot(cpesim.TR098(), "GRP1", "group", secrets["a rule's password"]),
		boot(model, "USR1", "acs-user", secrets["a user's password"]),
	}
	controller := env.Controller()
	for _, cpe := range cpes {
		cpe.AwaitDiscovery()
		controller.Set(cpe.Agent, passphrase, secrets["a passphrase"])
		if err := controller.TrySet(cpe.Agent, passphrase, secrets["a refused passphrase"]); err == nil {
			t.Error("a passphrase of 91 characters was taken")
		}
	}
	if err := boot(model, "SEC2", "own", secrets["a wrong password"]).CPE.Inform(periodic); err == nil {
		t.Error("a wrong password was taken")
	}
	// From now on each CPE has connection request credentials of its own.
	env.Kill()
	env.Reconfigure(map[string]any{"cwmp.connection_request.username": "", "cwmp.connection_request.password": ""})
	env.Restart()
	cpes[0].Inform(periodic)
	if secrets["the connection request's own"] = cpes[0].Value("Device.ManagementServer.ConnectionRequestPassword"); secrets["the connection request's own"] == "" {
		t.Fatal("the CPE has no connection request password")
	}
	controller = env.Controller()
	controller.Set(cpes[0].Agent, "Device.WiFi.SSID.1.SSID", "woken by a connection request")

	told := map[string]string{"the log": env.Log(), "the list of credentials": env.Try("device", "credentials", "list", "--json")}
	const onTheCPE = "InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.PreSharedKey.1.KeyPassphrase"
	for _, path := range append(consolePaths(cpes), "/api/devices/"+url.PathEscape(string(cpes[1].Agent))+"/explain?path="+onTheCPE) {
		status, body, err := env.Console(path)
		if err != nil || status != http.StatusOK {
			t.Errorf("%s: %d, %v", path, status, err)
		}
		told[path] = string(body)
	}
	env.Stop()
	file, err := os.ReadFile(env.StoreFile())
	if err != nil {
		t.Fatal(err)
	}
	told["the store's file"] = string(file)
	if !bytes.Contains(file, []byte("SEC1")) || !strings.Contains(told["the log"], "SEC1") || !strings.Contains(told[auditPath(cpes[0])], passphrase[:30]) {
		t.Error("the test looks in the wrong places")
	}
	for where, text := range told {
		for what, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s has %s in it: …%q", where, what, text[max(0, at-100):min(len(text), at+len(secret)+20)])
			}
		}
	}
}

func auditPath(c *testenv.CPE) string {
	return "/api/devices/" + url.PathEscape(string(c.Agent)) + "/audit"
}

// consolePaths are all that the console has to tell.
func consolePaths(cpes []*testenv.CPE) []string {
	paths := []string{"/", "/readyz", "/metrics", "/api/devices", "/api/credentials"}
	for _, c := range cpes {
		id := url.PathEscape(string(c.Agent))
		explain := "/explain?path=" + url.QueryEscape(passphrase)
		paths = append(paths, "/devices/"+id, "/devices/"+id+explain, "/api/devices/"+id, "/api/devices/"+id+explain,
			"/api/devices/"+id+"/coverage", auditPath(c))
	}
	return paths
}
