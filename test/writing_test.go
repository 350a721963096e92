package test

import (
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// TestSet: a Set changes the CPE itself, all of it or nothing.
func TestSet(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()

		t.Run("changes the value inside the CPE", func(t *testing.T) {
			controller.Set(cpe.Agent, "Device.WiFi.SSID.1.SSID", "home network")
			if got := cpe.Value(g.ssid); got != "home network" {
				t.Errorf("on the CPE the SSID is %q", got)
			}
			if got := controller.Value(cpe.Agent, "Device.WiFi.SSID.1.SSID"); got != "home network" {
				t.Errorf("Get returns %q", got)
			}
		})
		t.Run("without allow_partial one refusal leaves all as it was", func(t *testing.T) {
			before, channel := cpe.Value(g.ssid), cpe.Value(g.channel)
			_, err := controller.Client.Set(t.Context(), cpe.Agent, &usppb.Set{UpdateObjs: []*usppb.Set_UpdateObject{
				testenv.Update("Device.WiFi.Radio.1.Channel", "11"),
				testenv.Update("Device.WiFi.SSID.1.SSID", strings.Repeat("x", 33)), // the CPE takes 32
			}})
			if err == nil {
				t.Error("an SSID of 33 characters was accepted")
			}
			if cpe.Value(g.ssid) != before || cpe.Value(g.channel) != channel {
				t.Errorf("on the CPE SSID and channel are %q, %q; want %q, %q", cpe.Value(g.ssid), cpe.Value(g.channel), before, channel)
			}
			if got := controller.Value(cpe.Agent, "Device.WiFi.SSID.1.SSID"); got != before {
				t.Errorf("Get returns %q, want %q", got, before)
			}
		})
		t.Run("with allow_partial the rest is done", func(t *testing.T) {
			before := cpe.Value(g.ssid)
			resp, err := controller.Client.Set(t.Context(), cpe.Agent, &usppb.Set{AllowPartial: true, UpdateObjs: []*usppb.Set_UpdateObject{
				testenv.Update("Device.WiFi.Radio.1.Channel", "11"),
				testenv.Update("Device.WiFi.SSID.1.SSID", strings.Repeat("x", 33)),
			}})
			if err != nil {
				t.Fatal(err)
			}
			results := resp.GetUpdatedObjResults()
			if len(results) != 2 || results[0].GetOperStatus().GetOperSuccess() == nil || results[1].GetOperStatus().GetOperFailure() == nil {
				t.Errorf("SetResp is %v, want a success and a failure", resp)
			}
			if cpe.Value(g.channel) != "11" || cpe.Value(g.ssid) != before {
				t.Errorf("on the CPE channel and SSID are %q, %q; want 11, %q", cpe.Value(g.channel), cpe.Value(g.ssid), before)
			}
		})
	})
}

// TestAddAndDelete: rows of a table that lie elsewhere on a TR-098 CPE come and
// go there, and a number that a row has had is never another's.
func TestAddAndDelete(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()
		before := controller.Instances(cpe.Agent, portMappings)

		first := addPortMapping(controller, cpe, "8080")
		if got := portsOnCPE(cpe, g); !got["8080"] {
			t.Errorf("the CPE forwards %v, want 8080 too", got)
		}
		if got := controller.Value(cpe.Agent, first+"ExternalPort"); got != "8080" {
			t.Errorf("the new row's port is %q", got)
		}
		if got := controller.Instances(cpe.Agent, portMappings); len(got) != len(before)+1 || got[len(got)-1] != first {
			t.Errorf("rows are %v after %v and Add of %s", got, before, first)
		}

		controller.Delete(cpe.Agent, first)
		if got := portsOnCPE(cpe, g); got["8080"] {
			t.Errorf("the CPE still forwards %v", got)
		}
		if _, err := controller.TryGet(cpe.Agent, first+"ExternalPort"); err == nil {
			t.Error("a deleted row answers")
		}

		second := addPortMapping(controller, cpe, "9090")
		if second == first {
			t.Errorf("%s is reused", first)
		}
		if got := portsOnCPE(cpe, g); !got["9090"] || len(got) != len(before)+1 {
			t.Errorf("the CPE forwards %v", got)
		}
	})
}

// TestAddRefused: of an Add that the CPE refuses nothing is left on it.
func TestAddRefused(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()
		before := len(portsOnCPE(cpe, g))

		row, err := controller.TryAdd(cpe.Agent, portMappings, map[string]string{
			"ExternalPort": "8080", "Description": strings.Repeat("x", 257), // the CPE takes 256
		})
		if err == nil {
			t.Errorf("%s was added", row)
		}
		if got := portsOnCPE(cpe, g); len(got) != before {
			t.Errorf("left on the CPE: %v", got)
		}
	})
}
