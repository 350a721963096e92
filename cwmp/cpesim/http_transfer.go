package cpesim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/icholy/digest"

	"github.com/uspbridge/uspbridge/cwmp"
)

// maxResumes is how often a broken download is taken up again where it broke.
const maxResumes = 5

// HTTPTransfer returns a FleetConfig.Transfer that really fetches and stores
// files over HTTP, with Basic or Digest authentication as the server asks; a
// broken download is resumed with Range. Other schemes are fault 9013.
func HTTPTransfer(secure *tls.Config) func(ctx context.Context, t TransferRequest) *cwmp.Fault {
	transport := &http.Transport{TLSClientConfig: secure, DisableKeepAlives: true}
	return func(ctx context.Context, t TransferRequest) *cwmp.Fault {
		if !strings.HasPrefix(t.URL, "http://") && !strings.HasPrefix(t.URL, "https://") {
			return cwmp.NewFault(cwmp.FaultTransferProtocol)
		}
		x := &httpTransfer{t: t, client: &http.Client{Transport: transport}}
		if t.Upload {
			return x.upload(ctx)
		}
		return x.download(ctx)
	}
}

// httpTransfer is one transfer.
type httpTransfer struct {
	t      TransferRequest
	client *http.Client
	got    int64
}

func (x *httpTransfer) download(ctx context.Context) *cwmp.Fault {
	for range maxResumes {
		broken, fault := x.fetch(ctx)
		if fault != nil {
			return fault
		}
		if !broken {
			if size := x.t.FileSize; size != 0 && int64(size) != x.got {
				return cwmp.Faultf(cwmp.FaultDownloadCorrupted, "Download failure: %d bytes came, %d were told", x.got, size)
			}
			return nil
		}
	}
	return cwmp.NewFault(cwmp.FaultDownloadComplete)
}

// fetch gets the file from where the last attempt broke.
func (x *httpTransfer) fetch(ctx context.Context) (broken bool, fault *cwmp.Fault) {
	answer, err := x.send(ctx, http.MethodGet, "")
	if err != nil {
		return false, cwmp.NewFault(cwmp.FaultDownloadContact)
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		x.got = 0
	case http.StatusPartialContent:
	case http.StatusUnauthorized, http.StatusForbidden:
		return false, cwmp.NewFault(cwmp.FaultTransferAuthentication)
	default:
		return false, cwmp.Faultf(cwmp.FaultDownloadAccess, "Download failure: unable to access file: %s", answer.Status)
	}
	n, err := io.Copy(io.Discard, answer.Body)
	x.got += n
	return err != nil, nil
}

func (x *httpTransfer) upload(ctx context.Context) *cwmp.Fault {
	text := fmt.Sprintf("# %s of %s\n", x.t.FileType, x.t.CPE.Key())
	answer, err := x.send(ctx, http.MethodPut, text)
	if err != nil {
		return cwmp.NewFault(cwmp.FaultUploadFailure)
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusNoContent:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return cwmp.NewFault(cwmp.FaultTransferAuthentication)
	}
	return cwmp.Faultf(cwmp.FaultUploadFailure, "Upload failure: %s", answer.Status)
}

// send sends a request, and again with credentials if it is challenged.
func (x *httpTransfer) send(ctx context.Context, method, body string) (*http.Response, error) {
	authorization := ""
	for challenged := false; ; challenged = true {
		request, err := http.NewRequestWithContext(ctx, method, x.t.URL, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		if x.got > 0 {
			request.Header.Set("Range", fmt.Sprintf("bytes=%d-", x.got))
		}
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		answer, err := x.client.Do(request)
		if err != nil || answer.StatusCode != http.StatusUnauthorized || challenged || x.t.Username == "" {
			return answer, err
		}
		if authorization, err = x.authorize(request, answer); err != nil {
			return nil, errors.Join(err, answer.Body.Close())
		}
		if err := answer.Body.Close(); err != nil {
			return nil, err
		}
	}
}

// authorize answers a challenge.
func (x *httpTransfer) authorize(request *http.Request, answer *http.Response) (string, error) {
	challenge, err := digest.FindChallenge(answer.Header)
	if errors.Is(err, digest.ErrNoChallenge) {
		request.SetBasicAuth(x.t.Username, x.t.Password)
		return request.Header.Get("Authorization"), nil
	} else if err != nil {
		return "", err
	}
	credentials, err := digest.Digest(challenge, digest.Options{Method: request.Method, URI: request.URL.RequestURI(), Count: 1,
		Username: x.t.Username, Password: x.t.Password})
	if err != nil {
		return "", err
	}
	return credentials.String(), nil
}
