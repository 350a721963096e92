package test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// rolesExample is the example of docs/roles.md: a configuration, and the messages
// with their answers.
type rolesExample struct {
	USP struct {
		Controllers []struct {
			EndpointID string `yaml:"endpoint_id"`
			Role       string
		}
		Roles      any
		Challenges []map[string]any
	}
	steps []rolesStep
}

type rolesStep struct{ controller, message, answer string }

func readRolesExample(t *testing.T) (e rolesExample) {
	t.Helper()
	text, err := os.ReadFile("../docs/roles.md")
	if err != nil {
		t.Fatal(err)
	}
	_, config, _ := strings.Cut(string(text), "```yaml config\n")
	config, rest, _ := strings.Cut(config, "```\n")
	if err := yaml.Unmarshal([]byte(config), &e); err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(proto::[^`]+)` \\| `([^`]+)` \\| ([^|]+) \\|")
	for _, m := range row.FindAllStringSubmatch(rest, -1) {
		e.steps = append(e.steps, rolesStep{m[1], m[2], strings.Trim(m[3], "`")})
	}
	if len(e.steps) < 10 || len(e.USP.Controllers) == 0 {
		t.Fatalf("docs/roles.md: %d steps, %d controllers found", len(e.steps), len(e.USP.Controllers))
	}
	return e
}

// TestRolesExample plays what docs/roles.md says against a whole bridge, with each
// kind of CPE.
func TestRolesExample(t *testing.T) {
	e := readRolesExample(t)
	c := testenv.Config{Keys: map[string]any{"usp.roles": e.USP.Roles, "usp.challenges": e.USP.Challenges}}
	for _, ctl := range e.USP.Controllers {
		c.Controllers = append(c.Controllers, testenv.ControllerRow{EndpointID: usp.EndpointID(ctl.EndpointID), Role: ctl.Role})
	}
	env := testenv.Start(t, program, c)
	eachGateway(t, func(t *testing.T, g gateway) {
		env := env.For(t)
		cpe := env.CPE(g.model())
		mac := hmac.New(sha256.New, []byte(e.USP.Challenges[0]["key"].(string)))
		mac.Write([]byte(cpe.Agent))
		passphrase := base32.StdEncoding.EncodeToString(mac.Sum(nil)[:10])
		players := map[string]rolesPlayer{}
		for _, c := range e.USP.Controllers {
			players[c.EndpointID] = rolesPlayer{env.ControllerAs(usp.EndpointID(c.EndpointID)), cpe.Agent, passphrase}
		}
		for _, step := range e.steps {
			p := players[step.controller]
			got, err := p.play(t, step.message)
			if refused := new(usp.Error); errors.As(err, &refused) {
				got = strconv.Itoa(int(refused.Code))
			} else if err != nil {
				t.Fatalf("%s: %v", step.message, err)
			}
			if got != step.answer {
				t.Errorf("%s: %s: got %q, docs/roles.md says %q", step.controller, step.message, got, step.answer)
			}
		}
	})
}

// rolesPlayer is one of the example's controllers.
type rolesPlayer struct {
	*testenv.Controller
	agent      usp.EndpointID
	passphrase string
}

func (p rolesPlayer) play(t *testing.T, message string) (string, error) {
	t.Helper()
	verb, rest, _ := strings.Cut(message, " ")
	switch verb {
	case "Get":
		values, err := p.TryGet(p.agent, rest)
		return strings.Join(slices.Sorted(maps.Values(values)), " "), err
	case "Set":
		path, value, _ := strings.Cut(rest, "=")
		return "done", p.TrySet(p.agent, path, value)
	case "GetInstances":
		return strings.Join(p.Instances(p.agent, rest), " "), nil
	case "Operate":
		_, err := p.operate(t, rest, nil)
		return "done", err
	case "Respond":
		return "done", p.respond(t, strings.ReplaceAll(rest, "right", p.passphrase))
	}
	t.Fatalf("docs/roles.md: message %q is not known", message)
	return "", nil
}

func (p rolesPlayer) operate(t *testing.T, command string, args map[string]string) (map[string]string, error) {
	t.Helper()
	resp, err := p.Client.Operate(t.Context(), p.agent, &usppb.Operate{Command: command, SendResp: true, InputArgs: args})
	if err != nil {
		return nil, err
	}
	r := resp.GetOperationResults()[0]
	if f := r.GetCmdFailure(); f != nil {
		return nil, usp.Errorf(usp.ErrorCode(f.GetErrCode()), command, "%s", f.GetErrMsg())
	}
	return r.GetReqOutputArgs().GetOutputArgs(), nil
}

func (p rolesPlayer) respond(t *testing.T, value string) error {
	t.Helper()
	const trust = "Device.LocalAgent.ControllerTrust."
	out, err := p.operate(t, trust+"RequestChallenge()", map[string]string{"ChallengeRef": trust + "Challenge.1"})
	if err != nil {
		return err
	}
	_, err = p.operate(t, trust+"ChallengeResponse()", map[string]string{
		"ChallengeID": out["ChallengeID"], "Value": base64.StdEncoding.EncodeToString([]byte(value)),
	})
	return err
}
